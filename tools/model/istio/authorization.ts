import { headerName, pathSegment } from "../http.js";
import type { Match, Matcher } from "../matcher.js";
import { positive } from "./match.js";

/*
 * Conditions in the words of Istio's AuthorizationPolicy, which knows texts with one * at an end, and nothing else.
 */

/** What a rule of an AuthorizationPolicy says of a request; all must hold. */
export interface Condition {
  paths?: string[];
  notPaths?: string[];
  /** Each with `request.headers[NAME]` as its key. */
  when?: { key: string; values?: string[]; notValues?: string[] }[];
}

/** A condition that cannot be said: the key of the match, and why. */
export interface Unsaid {
  key: string;
  wrong: string;
}

const TEXTS = "exact, prefix, suffix, oneOf or present";

/** Answers what of `match` cannot be said instead, where there is something. */
export function condition(match: Match): Condition | Unsaid[] {
  const unsaid: Unsaid[] = [];
  const paths: Partial<Record<"service" | "method", Matcher>> = {};
  const notPaths: string[] = [];
  const when: NonNullable<Condition["when"]> = [];
  for (const [key, given] of Object.entries(match)) {
    const { matcher, not } = positive(given);
    const texts = textsOf(matcher);
    if ("wrong" in texts) {
      unsaid.push({ key, wrong: texts.wrong });
    } else if (key !== "service" && key !== "method") {
      const header = `request.headers[${headerName(key)}]`;
      when.push({ key: header, ...(not ? { notValues: texts.values } : { values: texts.values }) });
    } else if (not) {
      const patterns = key === "service" ? patternsOf(matcher, undefined) : patternsOf(undefined, matcher);
      if (patterns) notPaths.push(...patterns);
      else unsaid.push({ key, wrong: "" });
    } else {
      paths[key] = matcher;
    }
  }
  const patterns = paths.service || paths.method ? patternsOf(paths.service, paths.method) : [];
  if (!patterns) unsaid.push({ key: paths.method ? "method" : "service", wrong: "" });
  if (unsaid.length > 0) return unsaid.map(({ key, wrong }) => ({ key, wrong: wrong || placed(key, match) }));
  return {
    ...(patterns && patterns.length > 0 && { paths: patterns }),
    ...(notPaths.length > 0 && { notPaths }),
    ...(when.length > 0 && { when }),
  };
}

function placed(key: string, match: Match): string {
  return key === "method" && "service" in match
    ? "Istio's policies have one * at an end of the whole path: exact, oneOf or prefix, and service as exact or oneOf"
    : key === "method"
      ? "Istio's policies have one * at an end of the whole path: exact, oneOf or suffix, or an exact service beside it"
      : "Istio's policies have one * at an end of the whole path: exact, oneOf or prefix, and no method but exact or oneOf";
}

/** A header's values as patterns. */
function textsOf(matcher: Matcher): { values: string[] } | { wrong: string } {
  const { exact, prefix, suffix, oneOf, present } = matcher;
  if (matcher.regex !== undefined || matcher.range) return { wrong: `Istio's policies know only ${TEXTS}` };
  const texts = [exact, prefix, suffix, ...(oneOf ?? [])].filter((text) => text !== undefined);
  if (texts.some((text) => text.includes("*"))) return { wrong: "in Istio's policies a * stands for any text" };
  if (exact === "" || oneOf?.includes("")) return { wrong: "Istio's policies cannot ask for an empty text" };
  if (present || prefix === "" || suffix === "") return { values: ["*"] };
  if (prefix !== undefined) return { values: [`${prefix}*`] };
  if (suffix !== undefined) return { values: [`*${suffix}`] };
  return { values: oneOf ?? (exact === undefined ? [] : [exact]) };
}

/** `/SERVICE/METHOD` with one * at most, or undefined. What is missing may be anything. */
function patternsOf(service: Matcher | undefined, method: Matcher | undefined): string[] | undefined {
  const services = exactly(service);
  const methods = exactly(method);
  const any = (matcher: Matcher | undefined) =>
    !matcher || matcher.present === true || matcher.prefix === "" || matcher.suffix === "";
  if (services && methods) return services.flatMap((first) => methods.map((second) => `/${first}/${second}`));
  if (services && any(method)) return services.map((first) => `/${first}/*`);
  if (services && method?.prefix) return services.map((first) => `/${first}/${pathSegment(method.prefix ?? "")}*`);
  if (!any(service)) return service?.prefix && any(method) ? [`/${pathSegment(service.prefix)}*`] : undefined;
  if (methods) return methods.map((second) => `*/${second}`);
  if (any(method)) return ["*"];
  return method?.suffix ? [`*${pathSegment(method.suffix)}`] : undefined;
}

/** The only texts that match, as they stand in the path. */
function exactly(matcher: Matcher | undefined): string[] | undefined {
  const texts = matcher?.oneOf ?? (matcher?.exact === undefined ? undefined : [matcher.exact]);
  return texts?.map(pathSegment);
}
