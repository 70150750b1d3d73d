/**
 * Why a file could not be read, in words that say what to do. Knows the errors of the file system
 * and nothing of what the file is for.
 */

/** The reason in an error of the file system, to stand behind "cannot be read: ". */
export function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "there is no such file; check the name";
    case "EACCES":
    case "EPERM":
      return "permission denied; let the user of this process read it";
    case "EISDIR":
      return "it is a directory; name the file in it";
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return "it is not UTF-8; save it in that encoding";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
