import { expect, it } from "vitest";
import { printable } from "./terminal.js";

it("nobody else's text commands the terminal", () => {
  expect(printable("a\x1b[31m\x07b\r\x9bc\n\td é")).toBe("a [31m b c\n\td é");
});
