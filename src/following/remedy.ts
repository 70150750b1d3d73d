/**
 * Selects a remedy for the operator if a server cannot be followed. The choice depends on the text
 * of the refusal, or on how the connection ended. Pure.
 */

/** Returns the remedy for the text with which a server refused the session. */
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

/**
 * The remedy for a server that does not know the gateway and closes the connection without a
 * message.
 */
const MEMBERSHIP =
  "Allow the gateway's address: a line in SKS's membership file, or allowCIDRs or a [partner] of " +
  "Hockeypuck's [hockeypuck.conflux.recon].";

/** Returns the remedy for a connection problem that the session or the system reported. */
export function brokenRemedy(words: string): string {
  if (/closed the connection (before|after)/.test(words)) return MEMBERSHIP;
  if (/ECONNREFUSED/.test(words)) {
    return "Start the server, and check the port: SKS and Hockeypuck use 11370 for recon.";
  }
  if (/ENOTFOUND|EAI_AGAIN/.test(words)) return "Correct the host name in server.";
  return "Check that it is a recon port and not that of HKP, and that a firewall lets it through.";
}
