import {
  proxy_close_stream,
  proxy_continue_stream,
  proxy_set_effective_context,
  proxy_set_tick_period_milliseconds,
} from "./imports";

/** What a callback answers: whether the next filter may go on. */
export const enum Action {
  Continue = 0,
  StopIteration = 1,
}

const DOWNSTREAM: i32 = 2;

@final
export class Stream {
  /**
   * Has the next filter take the client's bytes, once the current callback has returned. Where that one answers
   * StopIteration the buffer stays in reach, so that more can be passed on at any time.
   */
  static proceed(): void {
    proxy_continue_stream(DOWNSTREAM);
  }

  /** Closes the client's connection of the current context. */
  static close(): void {
    proxy_close_stream(DOWNSTREAM);
  }

  /** Makes `context` the current one, for callbacks that do not belong to a connection. */
  static enter(context: u32): void {
    proxy_set_effective_context(context);
  }

  /** Has onTick of the current context's root called every `period` milliseconds; 0 ends it. */
  static tick(period: u32): void {
    proxy_set_tick_period_milliseconds(period);
  }
}
