// Words to word-piece ids, as the `tokenizers` package splits for models of BERT's family.
import { Unable } from "./manifest";

interface TokenizerFile {
  added_tokens: { id: number; content: string }[];
  normalizer: { type: string; clean_text: boolean; handle_chinese_chars: boolean; strip_accents: boolean | null; lowercase: boolean } | null;
  pre_tokenizer: { type: string } | null;
  model: {
    type: string;
    unk_token: string;
    continuing_subword_prefix: string;
    max_input_chars_per_word: number;
    vocab: Record<string, number>;
  };
  post_processor: { type: string; special_tokens?: Record<string, { ids: number[] }>; cls?: [string, number]; sep?: [string, number] } | null;
}

export interface Word {
  text: string;
  pieces: number;
  unknown: number;
}

/** Characters; a tokenizer takes longer words for unknown ones. */
const LONGEST_PIECE = 200;
const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
const WORDS = /[!-/:-@[-`{-~\p{P}]|[^\s!-/:-@[-`{-~\p{P}]+/gu;
// When an encoder cannot judge a text.
const LONG_WORD = 3;
const SPELT = 1.5;
const KNOWN = 0.85;

export class WordPiece {
  private readonly vocabulary: Map<string, number>;
  private readonly added: RegExp | undefined;

  constructor(
    private readonly file: TokenizerFile,
    readonly max_tokens: number,
  ) {
    if (file.model.type !== "WordPiece" || file.normalizer?.type !== "BertNormalizer" || file.pre_tokenizer?.type !== "BertPreTokenizer")
      throw new Unable("The words’ tokenizer of the server’s bundle is of a kind that this page does not know. Ask the server instead.");
    this.vocabulary = new Map(Object.entries(file.model.vocab));
    const contents = file.added_tokens.map(({ content }) => content.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.added = contents.length ? new RegExp(`(${contents.join("|")})`) : undefined;
  }

  /** Ids with the marks of beginning and end, at most `max_tokens`, and the words that they are made of. */
  encode(text: string): { ids: number[]; words: Word[] } {
    const kept: number[] = [];
    const words: Word[] = [];
    const room = this.max_tokens - 2;
    for (const part of this.added ? beginning(text, this.max_tokens).split(this.added) : [beginning(text, this.max_tokens)]) {
      const whole = this.file.added_tokens.find(({ content }) => content === part);
      if (whole) {
        if (kept.length < room) kept.push(whole.id);
        continue;
      }
      for (const word of this.normalised(part).match(WORDS) ?? []) {
        const ids = this.pieces(word).slice(0, room - kept.length);
        if (ids.length === 0) break;
        kept.push(...ids);
        const unknown = this.vocabulary.get(this.file.model.unk_token);
        words.push({ text: word, pieces: ids.length, unknown: ids.filter((id) => id === unknown).length });
      }
    }
    const [cls, sep] = this.marks();
    return { ids: [...cls, ...kept, ...sep], words };
  }

  private normalised(text: string): string {
    const { clean_text, handle_chinese_chars, strip_accents, lowercase } = this.file.normalizer!;
    let made = text;
    if (clean_text) made = made.replace(/[\t\n\r]/g, " ").replace(/[\p{C}\ufffd]/gu, "").replace(/\p{White_Space}/gu, " ");
    if (handle_chinese_chars) made = made.replace(CHINESE, " $& ");
    if (strip_accents ?? lowercase) made = made.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lowercase ? made.toLowerCase() : made;
  }

  private pieces(word: string): number[] {
    const { unk_token, continuing_subword_prefix, max_input_chars_per_word } = this.file.model;
    const unknown = this.vocabulary.get(unk_token) ?? 0;
    const letters = [...word];
    if (letters.length > max_input_chars_per_word) return [unknown];
    const ids: number[] = [];
    for (let start = 0; start < letters.length; ) {
      let end = letters.length;
      let id: number | undefined;
      for (; end > start; end--) {
        id = this.vocabulary.get((start ? continuing_subword_prefix : "") + letters.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return [unknown];
      ids.push(id);
      start = end;
    }
    return ids;
  }

  private marks(): [number[], number[]] {
    const special = this.file.post_processor?.special_tokens;
    const named = (mark: string) => special?.[mark]?.ids ?? [this.vocabulary.get(mark)!];
    return [named("[CLS]"), named("[SEP]")];
  }
}

function beginning(text: string, max_tokens: number): string {
  return [...text].slice(0, LONGEST_PIECE * max_tokens).join("").replace(/[\ud800-\udfff]/gu, "?");
}

/** Why a text encoder cannot judge these words; nothing where it can. */
export function unreadable(words: readonly Word[]): string {
  const count = (of: (word: Word) => number) => words.reduce((sum, word) => sum + of(word), 0);
  if (2 * count((word) => word.unknown) > count((word) => word.pieces)) return "most of the text is unknown to its encoder";
  const long = words.filter(({ text }) => [...text].length >= LONG_WORD);
  if (2 * long.filter(({ text, pieces }) => [...text].length < SPELT * pieces).length > long.length)
    return "most of the text is in letters that its encoder hardly knows";
  return "";
}

/** Whether so many words are strange that they may be of another language; the page has no way to tell. */
export function isStrange(words: readonly Word[]): boolean {
  const spelt = words.filter(({ text }) => /\p{L}/u.test(text));
  const known = spelt.filter(({ pieces, unknown }) => pieces === 1 && !unknown).length;
  return spelt.length > 1 && known < KNOWN * spelt.length;
}
