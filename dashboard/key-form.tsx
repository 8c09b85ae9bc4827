import { useRef } from "preact/hooks";

/** Asks for the API key. */
export function KeyForm({ isWrong, onKey }: { readonly isWrong: boolean; onKey(key: string): void }) {
  const field = useRef<HTMLInputElement>(null);
  return (
    <section aria-labelledby="key-title">
      <h2 id="key-title">API key</h2>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          const key = field.current?.value.trim() ?? "";
          if (key !== "") onKey(key);
        }}
      >
        <label class="grow">
          This server needs a key. It is kept in this tab until you close it.
          <input ref={field} type="password" name="key" autocomplete="off" required />
        </label>
        <button type="submit">Open</button>
      </form>
      {isWrong && (
        <p class="error" role="alert">
          The server does not know this key.
        </p>
      )}
    </section>
  );
}
