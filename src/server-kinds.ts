/**
 * The kinds of software that a neighbour may run. The kind determines which packets of a key the
 * neighbour can process and what it needs beside an update (`openpgp/fragments.ts`). A neighbour of
 * an unknown kind is sent everything that any kind needs.
 */
export const SERVER_KINDS = ["pksd", "sks", "onak", "hockeypuck", "gateway"] as const;
export type ServerKind = (typeof SERVER_KINDS)[number];
