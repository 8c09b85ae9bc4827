export type Fact = readonly [name: string, value: string];

/** Values by name. */
export function Facts({
  facts,
  small = false,
}: {
  readonly facts: readonly Fact[];
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
