import type { Said, Timeline } from "./timeline";
import { clock } from "./timeline";

interface Props {
  timeline: Timeline;
  at_s: number;
  onSeek?: (at_s: number) => void;
}

const GROUP_S = 6;

/** Words in stretches that can be read and jumped to. */
function stretches(words: readonly Said[]): { start_s: number; end_s: number; text: string }[] {
  const made: { start_s: number; end_s: number; text: string }[] = [];
  for (const word of words) {
    const last = made.at(-1);
    if (last && word.end_s - last.start_s < GROUP_S && !/[.!?]$/.test(last.text)) {
      last.text += ` ${word.text}`;
      last.end_s = word.end_s;
    } else made.push({ start_s: word.start_s, end_s: word.end_s, text: word.text });
  }
  return made;
}

/** What was said, the stretch that is being said marked. */
export function Words({ timeline, at_s, onSeek }: Props) {
  const parts = stretches(timeline.words);
  return (
    <section className="card" aria-labelledby="words-title">
      <h2 id="words-title">What was said</h2>
      {parts.length > 0 && (
        <ol className="m-0 mt-2 grid max-h-72 list-none gap-1 overflow-y-auto p-0">
          {parts.map((part) => {
            const now = part.start_s <= at_s && at_s < part.end_s;
            return (
              <li key={part.start_s}>
                <button
                  type="button"
                  disabled={!onSeek}
                  aria-current={now ? "true" : undefined}
                  className={`grid w-full grid-cols-[3.5rem_1fr] gap-2 border-0 text-left !opacity-100 ${now ? "!bg-card font-semibold" : "!bg-transparent"}`}
                  onClick={() => onSeek?.(part.start_s)}
                >
                  <span className="tabular-nums">{clock(part.start_s)}</span>
                  <span>{part.text}</span>
                </button>
              </li>
            );
          })}
        </ol>
      )}
      <p className="quiet">{timeline.words_note && `${timeline.words_note[0]?.toUpperCase()}${timeline.words_note.slice(1)}.`}</p>
    </section>
  );
}
