/** Values by name. */
export function Facts({
  facts,
  small = false,
}: {
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly small?: boolean;
}) {
  return (
    <dl class={small ? "load small" : "load"}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
