/** What a command writes, kept for a test. */
import type { Output } from "../../src/cli/output.js";

export interface Captured extends Output {
  readonly text: string;
  readonly errors: string;
}

export function captured(): Captured {
  let text = "";
  let errors = "";
  return {
    stdout: (part) => {
      text += part;
    },
    stderr: (part) => {
      errors += part;
    },
    get text() {
      return text;
    },
    get errors() {
      return errors;
    },
  };
}
