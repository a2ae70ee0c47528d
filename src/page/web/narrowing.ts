import { allOf, client } from './service.ts';
import { ofRun } from './session.ts';

const RUNS_MOST = 50;

/** What a list of questions has to name. */
export type Place = { run_id?: string; ticket?: string };

/**
 * The lists that together have the questions of a run and a ticket; an empty one does not matter. A ticket stands in the brief of
 * a run, as cards show it, or in the signal that asked.
 */
export async function placesOf(run_id: string, ticket: string, signal?: AbortSignal): Promise<Place[]> {
  const place = { ...ofRun(), ...(run_id && { run_id }) };
  if (ticket === '') return [place];
  const runs = await allOf(page => client.runs.list({ ...page, ticket }, { signal }), RUNS_MOST);
  const named = runs.filter(run => (place.run_id ?? run.run_id) === run.run_id);
  return [{ ...place, ticket }, ...named.map(run => ({ run_id: run.run_id }))];
}

/** The questions of all places, each once. @param read reads those of one place */
export async function inPlaces<T extends { question_id: string }>(
  places: readonly Place[],
  read: (place: Place) => Promise<T[]>,
): Promise<T[]> {
  const lists = await Promise.all(places.map(read));
  return [...new Map(lists.flat().map(question => [question.question_id, question])).values()];
}
