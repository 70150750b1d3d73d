/**
 * Colours on standard output, by `util.styleText`: none if it is no terminal, or NO_COLOR or
 * NODE_DISABLE_COLORS is set; always with FORCE_COLOR. The only place that writes colours.
 */
import { styleText } from "node:util";

export type Style = Parameters<typeof styleText>[0];

/** `text`, which has no line end, in a style if standard output shows it. */
export function coloured(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}
