/**
 * The property of `completeness.test.ts` over the keys of Debian's keyring as well.
 * Needs: /usr/share/keyrings/debian-keyring.gpg.
 */
process.env.COMPLETENESS_KEYRING = "/usr/share/keyrings/debian-keyring.gpg";
await import("./completeness.test.js");
