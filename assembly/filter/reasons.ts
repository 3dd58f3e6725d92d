import { Reason } from "../codec/codec";
import { Status } from "../codec/frame";
import { Slice } from "../wire/slice";

const NO_ROUTE = Slice.of("no_route");
const UNAVAILABLE = Slice.of("unavailable");
const TIMEOUT = Slice.of("timeout");
const RATE_LIMITED = Slice.of("rate_limited");
const DENIED = Slice.of("denied");
const TOO_LARGE = Slice.of("too_large");
const BAD_REQUEST = Slice.of("bad_request");
const INTERNAL = Slice.of("internal");

/** The label of a request that got an error reply which its service did not write. */
export function reasonName(reason: Reason): Slice {
  switch (reason) {
    case Reason.NoRoute:
      return NO_ROUTE;
    case Reason.Unavailable:
      return UNAVAILABLE;
    case Reason.Timeout:
      return TIMEOUT;
    case Reason.RateLimited:
      return RATE_LIMITED;
    case Reason.Denied:
      return DENIED;
    case Reason.TooLarge:
      return TOO_LARGE;
    case Reason.BadRequest:
      return BAD_REQUEST;
    default:
      return INTERNAL;
  }
}

/** What a status that Envoy answered means to the caller. */
export function reasonOf(status: u32): Reason {
  switch (status) {
    case 401:
    case 403:
      return Reason.Denied;
    case 404:
      return Reason.NoRoute;
    case 408:
    case 504:
      return Reason.Timeout;
    case 413:
      return Reason.TooLarge;
    case 429:
      return Reason.RateLimited;
    case 502:
    case 503:
      return Reason.Unavailable;
    default:
      return status >= 400 && status < 500 ? Reason.BadRequest : Reason.Internal;
  }
}

/**
 * The `:status` of a reply that a service wrote, so that retries, outlier detection and metrics see failures. Never 503:
 * that is what Envoy answers where there is no connection, and what Istio retries by default.
 */
export function httpStatus(status: Status): u32 {
  switch (status) {
    case Status.Ok:
      return 200;
    case Status.BadRequest:
      return 400;
    case Status.NotFound:
      return 404;
    case Status.Denied:
      return 403;
    case Status.Timeout:
      return 504;
    case Status.Overload:
      return 429;
    case Status.Unavailable:
      return 502;
    default:
      return 500;
  }
}
