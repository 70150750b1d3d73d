/**
 * Why a file could not be read, with a remedy. It knows the errors of the file system
 * and not the purpose of the file.
 */

/** The reason of a file system error, for a message after "cannot be read: ". */
export function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "no such file; check the name";
    case "EACCES":
    case "EPERM":
      return "permission denied; the user of this process must be able to read it";
    case "EISDIR":
      return "is a directory; write the name of a file";
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return "is not UTF-8; save it in this encoding";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
