import { expect, it } from "vitest";
import { formatReference, parseReference } from "./reference.js";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

it.each([
  ["ghcr.io/acme/meltemi:1.0", "ghcr.io/acme/meltemi:1.0"],
  ["oci://ghcr.io/acme/meltemi:1.0", "ghcr.io/acme/meltemi:1.0"],
  [`ghcr.io/acme/meltemi@${digest}`, `ghcr.io/acme/meltemi@${digest}`],
  [`ghcr.io/acme/meltemi:1.0@${digest}`, `ghcr.io/acme/meltemi:1.0@${digest}`],
  ["localhost/meltemi", "localhost/meltemi:latest"],
  ["localhost:5000/meltemi", "localhost:5000/meltemi:latest"],
  ["[::1]:5000/a/b__c-d.e:V_1", "[::1]:5000/a/b__c-d.e:V_1"],
  ["meltemi", "docker.io/library/meltemi:latest"],
  ["meltemi:1.0", "docker.io/library/meltemi:1.0"],
  ["acme/meltemi", "docker.io/acme/meltemi:latest"],
  ["docker.io/meltemi", "docker.io/library/meltemi:latest"],
  ["index.docker.io/acme/meltemi", "docker.io/acme/meltemi:latest"],
  ["registry-1.docker.io/acme/meltemi", "docker.io/acme/meltemi:latest"],
])("%s is %s", (text, whole) => {
  expect(formatReference(parseReference(text))).toBe(whole);
  expect(parseReference(whole)).toEqual(parseReference(text));
});

it("names the parts", () => {
  expect(parseReference(`host:5000/a/b:c@${digest}`)).toEqual({
    registry: "host:5000",
    repository: "a/b",
    tag: "c",
    digest,
  });
});

it.each([
  ["", "it has no repository"],
  ["ghcr.io/", "it has no repository"],
  ["https://ghcr.io/a/b", "it begins with https://"],
  ["docker://a/b", "it begins with docker://"],
  ["ghcr.io/Acme/meltemi", 'the repository "Acme/meltemi" is not all in lower case'],
  ["ghcr.io/acme//meltemi", 'the repository "acme//meltemi" has more than lower case letters'],
  ["ghcr.io/../meltemi", 'the repository "../meltemi" has more than'],
  ["ghcr.io/a/b?c", 'the repository "a/b?c" has more than'],
  ["ghcr.io:99999x/a", '"ghcr.io:99999x" is neither a host nor host:port'],
  ["user:pw@ghcr.io/a", '"ghcr.io/a" is no digest'],
  ["a/b:", '"" is no tag'],
  ["a/b:c:d", '"c:d" is no tag'],
  [`a/b:${"x".repeat(129)}`, "is no tag"],
  ["a/b@sha256:123", '"sha256:123" is no digest'],
  [`a/b@${digest.toUpperCase()}`, "is no digest"],
  [`a/b@${digest}@${digest}`, "it has more than one @"],
  [`ghcr.io/${"x".repeat(250)}`, "its name has more than 255 characters"],
])("refuses %j", (text, why) => {
  expect(() => parseReference(text)).toThrow(
    expect.objectContaining({ code: "E_REFERENCE", exit: 2, message: expect.stringContaining(why) }),
  );
});
