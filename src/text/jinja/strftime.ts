const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June"],
  ...["July", "August", "September", "October", "November", "December"],
];

const two = (n: number): string => String(n).padStart(2, "0");

function dayOfYear(now: Date): number {
  const start = new Date(now.getFullYear(), 0, 1);
  const day = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  return Math.round((day.getTime() - start.getTime()) / 86_400_000) + 1;
}

const CODES: Readonly<Record<string, (now: Date) => string>> = {
  "%": () => "%",
  A: (now) => DAYS[now.getDay()] as string,
  a: (now) => (DAYS[now.getDay()] as string).slice(0, 3),
  B: (now) => MONTHS[now.getMonth()] as string,
  b: (now) => (MONTHS[now.getMonth()] as string).slice(0, 3),
  h: (now) => (MONTHS[now.getMonth()] as string).slice(0, 3),
  d: (now) => two(now.getDate()),
  e: (now) => String(now.getDate()).padStart(2, " "),
  m: (now) => two(now.getMonth() + 1),
  Y: (now) => String(now.getFullYear()),
  y: (now) => two(now.getFullYear() % 100),
  H: (now) => two(now.getHours()),
  I: (now) => two(now.getHours() % 12 || 12),
  M: (now) => two(now.getMinutes()),
  S: (now) => two(now.getSeconds()),
  f: (now) => `${String(now.getMilliseconds()).padStart(3, "0")}000`,
  p: (now) => (now.getHours() < 12 ? "AM" : "PM"),
  j: (now) => String(dayOfYear(now)).padStart(3, "0"),
  w: (now) => String(now.getDay()),
  u: (now) => String(now.getDay() || 7),
  F: (now) => `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`,
  T: (now) => `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`,
  Z: () => "",
  z: () => "",
};

/** Python's `strftime` of a local time, in English; `%-d` and the like are without their zero. Unknown codes stay as they are. */
export function strftime(format: string, now: Date): string {
  return format.replace(/%(-?)(.)/gs, (whole, bare: string, code: string) => {
    const make = Object.hasOwn(CODES, code) ? CODES[code] : undefined;
    if (make === undefined) return whole;
    return bare === "" ? make(now) : make(now).replace(/^[0 ](?=.)/, "");
  });
}
