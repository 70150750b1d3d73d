/**
 * Checks reports against the table of events while a test runs. The compiler checks the call; this
 * also checks fields from a spread or with another type, which the compiler accepts. Every recorder
 * of events in the tests uses it.
 */
import {
  type Diagnostics,
  type EventName,
  type EventSink,
  type Fields,
  kindOf,
} from "../../src/diagnostics.js";

/** What is wrong with a report: fields that the table does not know, misses or has otherwise. */
export function reportFaults(event: EventName, fields: Fields): string[] {
  const { fields: row } = kindOf(event);
  const unknown = Object.entries(fields).filter(
    ([name, value]) => value !== undefined && !Object.hasOwn(row, name),
  );
  return [
    ...unknown.map(([name]) => `${event}: the table has no field ${name}`),
    ...Object.entries(row).flatMap(([name, type]) => {
      const value = fields[name];
      if (value === undefined) return type.endsWith("?") ? [] : [`${event}: lacks ${name}`];
      return isA(type.replace("?", ""), value) ? [] : [`${event}: ${name} is no ${type}`];
    }),
  ];
}

/** Passes checked reports on to `record`. */
export function checked(record: (event: EventName, fields: Fields) => unknown): Diagnostics {
  const sink: EventSink = {
    report: (event, fields = {}) => {
      checkReport(event, fields);
      record(event, fields);
    },
  };
  return sink;
}

/** Throws when the report is not as the table says. */
export function checkReport(event: EventName, fields: Fields): void {
  const faults = reportFaults(event, fields);
  if (faults.length > 0) throw new Error(faults.join("; "));
}

function isA(type: string, value: NonNullable<Fields[string]>): boolean {
  switch (type) {
    case "number":
      return typeof value === "number";
    case "flag":
      return typeof value === "boolean";
    case "list":
      return Array.isArray(value);
    default:
      return typeof value === "string";
  }
}
