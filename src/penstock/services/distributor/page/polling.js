// When the service is asked: in a while, or at once when something was changed.

let wakeUp = () => {};

/** Ends the pause: what was changed is to be seen. */
export const wake = () => wakeUp();

export function pause(ms) {
  return new Promise((resolve) => {
    wakeUp = resolve;
    setTimeout(resolve, ms);
  });
}
