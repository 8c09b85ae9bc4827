/** Starts each piece of work when those before it have ended, in the order of the calls; what fails stops no other. */
export type InOrder = <T>(work: () => Promise<T> | T) => Promise<T>;

/** A queue with nothing in it. */
export function createOrder(): InOrder {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
}
