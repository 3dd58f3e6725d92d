// The process that a pod's network belongs to. It opens lines for the test, of which one end is in that network.
import type { ListenOptions, NetConnectOpts } from "node:net";
import { Line } from "./line.js";

export type Wish = { id: number } & ({ from: ListenOptions; to: NetConnectOpts } | { close: number });
/** `error` where the wish could not be granted. The first answer, 0, is to no wish: this process is there. */
export type Answer = { id: number; error?: string };

const lines = new Map<number, Line>();

async function grant(wish: Wish): Promise<void> {
  if ("close" in wish) lines.get(wish.close)?.break();
  else lines.set(wish.id, await Line.open(wish.from, wish.to));
}

const answer = (it: Answer) => process.send?.(it);
process.on("message", (wish: Wish) => {
  grant(wish).then(
    () => answer({ id: wish.id }),
    ({ message }: Error) => answer({ id: wish.id, error: message }),
  );
});
process.on("disconnect", () => process.exit());
answer({ id: 0 });
