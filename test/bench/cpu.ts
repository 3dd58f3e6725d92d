import { readdirSync, readFileSync } from "node:fs";

/** Microseconds that all threads of a process have spent on a CPU, in user and kernel mode. Linux only. */
export function cpuMicroseconds(pid: number): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ", 1)[0]))
    .reduce((a, b) => a + b, 0);
  return nanoseconds / 1000;
}
