/** Names and targets of symlinks: the namespace has one character (0–255) a byte, people read and write UTF-8. */

export function byteStringOf(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** What is no UTF-8 is shown as U+FFFD. */
export function textOf(byteString: string): string {
  return Buffer.from(byteString, "latin1").toString("utf8");
}
