// Times as Slack writes them, in the reader's time zone.

const part = (options) => new Intl.DateTimeFormat("en-US", options);
const TIME = part({ hour: "numeric", minute: "2-digit" });
const TIME_SECS = part({ hour: "numeric", minute: "2-digit", second: "2-digit" });
const SHORT = part({ month: "short", day: "numeric", year: "numeric" });
const WEEKDAY = part({ weekday: "long" });
const MONTH = part({ month: "long" });

/** The moment of a Slack timestamp ("1700000000.000100"). */
export function moment(ts) {
  return new Date(Number.parseFloat(ts) * 1000);
}

function ordinal(day) {
  const tens = day % 100;
  if (tens >= 11 && tens <= 13) return `${day}th`;
  return `${day}${["th", "st", "nd", "rd"][day % 10] ?? "th"}`;
}

/** "3:07 PM". */
export function clock(date) {
  return TIME.format(date);
}

/** A string that is the same for two moments of one day. */
export function dayKey(date) {
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

function daysAgo(date) {
  const start = (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  return Math.round((start(new Date()) - start(date)) / 86_400_000);
}

function pretty(date, otherwise) {
  return { "-1": "tomorrow", 0: "today", 1: "yesterday" }[daysAgo(date)] ?? otherwise(date);
}

const numeric = (date) =>
  [date.getFullYear(), `${date.getMonth() + 1}`.padStart(2, "0"), `${date.getDate()}`.padStart(2, "0")].join("-");
const plain = (date) => `${MONTH.format(date)} ${ordinal(date.getDate())}, ${date.getFullYear()}`;
const long = (date) => `${WEEKDAY.format(date)}, ${plain(date)}`;
const short = (date) => SHORT.format(date);

/** "Today", "Yesterday" or "Monday, November 23rd": the words on a day divider. */
export function dayName(date) {
  const near = { 0: "Today", 1: "Yesterday" }[daysAgo(date)];
  if (near) return near;
  const day = `${WEEKDAY.format(date)}, ${MONTH.format(date)} ${ordinal(date.getDate())}`;
  return date.getFullYear() === new Date().getFullYear() ? day : `${day}, ${date.getFullYear()}`;
}

/** "November 23rd at 3:07:12 PM": the words behind a time. */
export function fullTime(date) {
  return `${plain(date)} at ${TIME_SECS.format(date)}`;
}

/** "5 minutes ago", roughly. */
export function ago(date) {
  const seconds = (Date.now() - date.getTime()) / 1000;
  const future = seconds < -1;
  const size = Math.abs(seconds);
  const [n, unit] = size < 60 ? [0, ""] : size < 3600 ? [size / 60, "minute"]
    : size < 86_400 ? [size / 3600, "hour"] : [size / 86_400, "day"];
  if (!unit) return future ? "in a moment" : "just now";
  const count = Math.floor(n);
  const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
  return future ? `in ${words}` : `${words} ago`;
}

const TOKENS = {
  date_num: numeric, date: plain, date_long: long, date_short: short,
  date_slash: (date) => numeric(date).replaceAll("-", "/"),
  date_pretty: (date) => pretty(date, plain),
  date_long_pretty: (date) => pretty(date, long),
  date_short_pretty: (date) => pretty(date, short),
  day_divider_pretty: (date) => pretty(date, (d) => `${WEEKDAY.format(d)}, ${MONTH.format(d)} ${ordinal(d.getDate())}`),
  time: (date) => TIME.format(date), time_secs: (date) => TIME_SECS.format(date), ago,
};

/** Fill Slack's date tokens (`{date_short} at {time}`) for a moment given in seconds; null when it is no moment. */
export function formatDate(seconds, format) {
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime())) return null;
  const filled = format.replace(/\{(\w+)\}/g, (whole, token) => TOKENS[token]?.(date) ?? whole);
  return filled.charAt(0).toUpperCase() + filled.slice(1);
}
