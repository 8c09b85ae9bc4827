const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const MS_PER_DAY = 86_400_000;

const two = (n: number): string => String(n).padStart(2, "0");
const three = (n: number): string => String(n).padStart(3, "0");

/** Day of the year, from 1. */
function dayOfYear(date: Date): number {
  const day = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (day - Date.UTC(date.getFullYear(), 0, 1)) / MS_PER_DAY + 1;
}

/** Year and week of ISO 8601. */
function isoWeek(date: Date): { readonly year: number; readonly week: number } {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 4 - (date.getDay() || 7));
  return { year: thursday.getFullYear(), week: Math.ceil(dayOfYear(thursday) / 7) };
}

type Directive = (date: Date) => string;

const hour12 = (date: Date): number => date.getHours() % 12 || 12;
const DIRECTIVES: Readonly<Record<string, Directive>> = {
  a: (d) => (DAYS[d.getDay()] as string).slice(0, 3),
  A: (d) => DAYS[d.getDay()] as string,
  w: (d) => String(d.getDay()),
  u: (d) => String(d.getDay() || 7),
  d: (d) => two(d.getDate()),
  e: (d) => String(d.getDate()).padStart(2, " "),
  b: (d) => (MONTHS[d.getMonth()] as string).slice(0, 3),
  h: (d) => (MONTHS[d.getMonth()] as string).slice(0, 3),
  B: (d) => MONTHS[d.getMonth()] as string,
  m: (d) => two(d.getMonth() + 1),
  y: (d) => two(d.getFullYear() % 100),
  Y: (d) => String(d.getFullYear()),
  C: (d) => two(Math.floor(d.getFullYear() / 100)),
  H: (d) => two(d.getHours()),
  k: (d) => String(d.getHours()).padStart(2, " "),
  I: (d) => two(hour12(d)),
  l: (d) => String(hour12(d)).padStart(2, " "),
  p: (d) => (d.getHours() < 12 ? "AM" : "PM"),
  P: (d) => (d.getHours() < 12 ? "am" : "pm"),
  M: (d) => two(d.getMinutes()),
  S: (d) => two(d.getSeconds()),
  f: (d) => `${three(d.getMilliseconds())}000`,
  j: (d) => three(dayOfYear(d)),
  U: (d) => two(Math.floor((dayOfYear(d) + 6 - d.getDay()) / 7)),
  W: (d) => two(Math.floor((dayOfYear(d) + 6 - ((d.getDay() + 6) % 7)) / 7)),
  V: (d) => two(isoWeek(d).week),
  G: (d) => String(isoWeek(d).year),
  g: (d) => two(isoWeek(d).year % 100),
  s: (d) => String(Math.floor(d.getTime() / 1000)),
  z: () => "",
  Z: () => "",
  n: () => "\n",
  t: () => "\t",
  "%": () => "%",
};
/** Directives made of others, in the C locale. */
const COMPOSED: Readonly<Record<string, string>> = {
  c: "%a %b %e %H:%M:%S %Y",
  x: "%m/%d/%y",
  X: "%H:%M:%S",
  D: "%m/%d/%y",
  F: "%Y-%m-%d",
  T: "%H:%M:%S",
  R: "%H:%M",
  r: "%I:%M:%S %p",
};

/** Python's `date.strftime(format)` in the C locale, local time; a directive that is unknown stays, as in glibc. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^])?([a-zA-Z%])/g, (whole, flag: string | undefined, name: string) => {
    const composed = Object.hasOwn(COMPOSED, name) ? COMPOSED[name] : undefined;
    if (composed !== undefined) return strftime(date, composed);
    const directive = Object.hasOwn(DIRECTIVES, name) ? DIRECTIVES[name] : undefined;
    if (directive === undefined) return whole;
    const text = directive(date);
    if (flag === "-") return text.replace(/^[ 0]+(?=.)/, "");
    if (flag === "_") return text.replace(/^0+(?=.)/, (zeros) => " ".repeat(zeros.length));
    return flag === "^"
      ? text.toUpperCase()
      : flag === "0"
        ? text.replace(/^ +/, (s) => "0".repeat(s.length))
        : text;
  });
}
