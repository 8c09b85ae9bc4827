// BERT's normalizer and pre-tokenizer as the tokenizers library has them. `@huggingface/tokenizers` 0.2 looks at UTF-16 units,
// and so neither puts spaces around the ideographs beyond U+FFFF nor keeps apart what a letter beyond it touches.

/** `normalizer` of a tokenizer.json, type BertNormalizer. */
export interface BertNormalizerConfig {
  readonly clean_text?: boolean;
  readonly handle_chinese_chars?: boolean;
  /** null: as `lowercase`. */
  readonly strip_accents?: boolean | null;
  readonly lowercase?: boolean;
}

/** The ranges of the reference implementation; U+2B820 to U+2B91F are missing there as well. */
const IDEOGRAPHS =
  /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;
const WHITE_SPACE = /\p{White_Space}/gu;
/** Controls, formats, private use and U+FFFD; tab and line ends are white space. */
const CONTROLS = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\uFFFD]/gu;
const PUNCTUATION = /([\p{P}!-/:-@[-`{-~])/u;

/** Text as BERT reads it: without controls, spaces around ideographs, without accents, in lower case. */
export function bertNormalizer(config: BertNormalizerConfig): (text: string) => string {
  const { clean_text = true, handle_chinese_chars = true, lowercase = true } = config;
  const stripsAccents = config.strip_accents ?? lowercase;
  return (text) => {
    let result = clean_text ? text.replace(CONTROLS, "").replace(WHITE_SPACE, " ") : text;
    if (handle_chinese_chars) result = result.replace(IDEOGRAPHS, " $& ");
    if (stripsAccents) result = result.normalize("NFD").replace(/\p{Mn}/gu, "");
    // Character by character: a word's last sigma is like any other.
    return lowercase ? Array.from(result, (char) => char.toLowerCase()).join("") : result;
  };
}

/** Words between white space, with every mark of punctuation apart. (The reference's tables are of Unicode 8: of marks added
 *  since, such as U+09FD, it makes letters.) */
export function bertWords(text: string): string[] {
  return text
    .split(/\p{White_Space}+/u)
    .flatMap((word) => word.split(PUNCTUATION).filter((part) => part !== ""));
}
