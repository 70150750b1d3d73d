/**
 * The tags of our messages (thesis A.1): four characters, each unique on its connection. We count
 * in base 62, from 0001, which is unique for the first 14 million messages; the peer's own tags
 * are its affair.
 */
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PLACES = 4;

export class Tags {
  #count = 0;

  next(): string {
    this.#count = (this.#count + 1) % DIGITS.length ** PLACES;
    let rest = this.#count;
    let tag = "";
    for (let place = 0; place < PLACES; place++) {
      tag = DIGITS.charAt(rest % DIGITS.length) + tag;
      rest = Math.floor(rest / DIGITS.length);
    }
    return tag;
  }
}
