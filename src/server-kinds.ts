/**
 * The kinds of software that a neighbour may run. A kind says which of a key's packets it can take
 * and what it needs beside an update (`openpgp/fragments.ts`). Without one everything is sent that
 * any of them needs.
 */
export const SERVER_KINDS = ["pksd", "sks", "onak", "hockeypuck", "gateway"] as const;
export type ServerKind = (typeof SERVER_KINDS)[number];
