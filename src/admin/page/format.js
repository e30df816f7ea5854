// How amounts, times and lengths of time are written. One locale, so that two people read the same page.

import { put, say } from "./dom.js";

const LOCALE = "en-GB";
const amounts = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 6 });
const signed = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 6, signDisplay: "exceptZero" });
const paces = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 1 });
const small = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 2 });

const minus = (text) => text.replace("-", "−");

// Exactly as booked: up to millionths, without zeros at the end.
export const amount = (value) => minus(amounts.format(value));
export const difference = (value) => minus(signed.format(value));
// A pace is a mean: more digits than these would pretend.
export const pace = (value) => (value < 1 ? small : paces).format(value);
export const counted = (count, one, many = `${one}s`) => `${amount(count)} ${count === 1 ? one : many}`;
export const credits = (value) => counted(value, "credit");

// Rounded down, so that only what is full says 100 %.
export function percent(part, whole) {
  if (whole <= 0) return "–";
  const share = (part / whole) * 100;
  if (share > 0 && share < 1) return "< 1 %";
  return `${amount(Math.floor(share + 1e-9))} %`;
}

const sizes = new Intl.NumberFormat(LOCALE, { maximumSignificantDigits: 2 });

export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const step = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), units.length - 1);
  return `${sizes.format(count / 1000 ** step)} ${units[step]}`;
}

const MINUTE = 60,
  HOUR = 60 * MINUTE,
  DAY = 24 * HOUR;

export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 2 * MINUTE) return `${whole} s`;
  if (whole < 2 * HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < 2 * DAY) return `${Math.floor(whole / HOUR)} h`;
  return counted(Math.floor(whole / DAY), "day");
}

export const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

// Times are shown in the gateway's zone, whatever the reader's is.
class Zone {
  constructor(name) {
    this.name = name;
    let timeZone = name;
    try {
      new Intl.DateTimeFormat(LOCALE, { timeZone });
    } catch {
      // A zone this browser does not know: better a time that says UTC than none.
      timeZone = this.name = "UTC";
    }
    const format = (options) => new Intl.DateTimeFormat(LOCALE, { timeZone, hourCycle: "h23", ...options });
    const hm = { hour: "2-digit", minute: "2-digit" };
    this.clocks = format({ ...hm, second: "2-digit" });
    this.minutes = format(hm);
    this.days = format({ weekday: "short", day: "numeric", month: "short" });
    this.dates = format({ day: "numeric", month: "short" });
    this.years = format({ year: "numeric" });
    this.calendar = format({ year: "numeric", month: "2-digit", day: "2-digit" });
    this.fulls = format({ dateStyle: "full" });
    this.offsets = format({ ...hm, timeZoneName: "short" });
  }

  clock = (iso) => this.clocks.format(new Date(iso));

  full(iso) {
    const moment = new Date(iso);
    const short = this.offsets.formatToParts(moment).find((part) => part.type === "timeZoneName").value;
    const place = short === this.name ? short : `${short}, ${this.name}`;
    return `${this.fulls.format(moment)}, ${this.clocks.format(moment)} (${place})`;
  }

  year = (iso, now) => {
    const year = this.years.format(new Date(iso));
    return year === this.years.format(new Date(now)) ? "" : ` ${year}`;
  };

  date = (iso, now) => this.dates.format(new Date(iso)) + this.year(iso, now);

  // As the calendar has it.
  day(iso) {
    const parts = Object.fromEntries(this.calendar.formatToParts(new Date(iso)).map(({ type, value }) => [type, value]));
    return `${parts.year}-${parts.month}-${parts.day}`;
  }

  // A day, with the time where it is not midnight.
  moment(iso, now) {
    const moment = new Date(iso);
    const time = this.minutes.format(moment);
    const day = this.days.format(moment).replace(",", "") + this.year(iso, now);
    return time === "00:00" ? day : `${day}, ${time}`;
  }

  // A time of today is a clock; of another day, a date as well.
  recent(iso, now) {
    const date = this.date(iso, now);
    return date === this.date(now, now) ? this.clock(iso) : `${date}, ${this.clock(iso)}`;
  }
}

const zones = new Map();

export function zone(name) {
  if (!zones.has(name)) zones.set(name, new Zone(name));
  return zones.get(name);
}

export function showTime(node, iso, text, where) {
  say(node, text);
  put(node, "datetime", iso);
  put(node, "title", where.full(iso));
}

const calendar = (options) => new Intl.DateTimeFormat(LOCALE, { timeZone: "UTC", ...options });
const buckets = {
  day: {
    long: calendar({ weekday: "short", day: "numeric", month: "short", year: "numeric" }),
    short: calendar({ day: "numeric", month: "short" }),
  },
  week: {
    long: calendar({ day: "numeric", month: "short", year: "numeric" }),
    short: calendar({ day: "numeric", month: "short" }),
  },
  month: {
    long: calendar({ month: "long", year: "numeric" }),
    short: calendar({ month: "short", year: "2-digit" }),
  },
};

// A calendar day that stands for itself, its week or its month.
export function bucket(day, per, length) {
  const text = buckets[per][length].format(new Date(`${day}T00:00:00Z`)).replace(",", "");
  return per === "week" && length === "long" ? `Week of ${text}` : text;
}
