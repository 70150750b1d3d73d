/**
 * A block on a key, as a value. The block list of the configuration, the blocks that a command
 * stores in the log, and the policy that applies them all use this type.
 */

/** Why and until when a key is not carried. */
export interface Block {
  readonly reason: string;
  /** Milliseconds since 1970, or undefined for no end. */
  readonly until: number | undefined;
  /** Whether an update with only a hard revocation of the key passes. */
  readonly allowRevocation: boolean;
}
