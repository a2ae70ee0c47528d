import { composed } from '../text.ts';

/** The plan of a run. */
export interface RunBrief {
  ticket: string | null;
  title: string | null;
  /** The criteria that every validation must name; null accepts any. */
  done_criteria: string | null;
  /** Names of the agents that must take part. */
  agents: string[];
}

/** Answers whether a validation against these criteria satisfies the brief. */
export function criteriaOf(brief: RunBrief | null): (doneCriteria: string) => boolean {
  const wanted = brief?.done_criteria ?? null;
  if (wanted === null) return () => true;
  const known = folded(wanted);
  return given => given === wanted || folded(given) === known;
}

/** The text with each run of white space (line ends included) as one space, in Unicode's composed form (NFC). */
function folded(text: string): string {
  return composed(text)
    .replaceAll(/[\s\u0085]+/gu, ' ')
    .trim();
}
