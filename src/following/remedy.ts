/**
 * What the operator can do when a server cannot be followed. The remedy is chosen by the text of
 * its refusal, or by the way in which the connection ended. Pure.
 */

/** Words of a server that refuses the session, as a remedy. */
export function refusalRemedy(words: string): string {
  if (/filter/i.test(words)) {
    return "Its filters are other ones than it announces: restart it, or correct its filters.";
  }
  if (/member|partner|allow|permit|unknown|denied|not in/i.test(words)) return MEMBERSHIP;
  if (/bitquantum|mbar|version/i.test(words)) {
    return "It changed its parameters: restart it, and check its recon settings.";
  }
  return `Look into its log for the reason. ${MEMBERSHIP}`;
}

/** For a server that does not know the gateway: it closes the connection without a message. */
export const MEMBERSHIP =
  "Allow the gateway's address: a line in SKS's membership file, or allowCIDRs or a [partner] of " +
  "Hockeypuck's [hockeypuck.conflux.recon].";

/** Words of the session or of the system about a connection, as a remedy. */
export function brokenRemedy(words: string): string {
  if (/closed the connection (before|after)/.test(words)) return MEMBERSHIP;
  if (/ECONNREFUSED/.test(words)) {
    return "Start the server, and check the port: SKS and Hockeypuck use 11370 for recon.";
  }
  if (/ENOTFOUND|EAI_AGAIN/.test(words)) return "Correct the host name in server.";
  return "Check that it is a recon port and not that of HKP, and that a firewall lets it through.";
}
