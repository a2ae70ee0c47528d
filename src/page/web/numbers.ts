import { html } from 'htm/preact';
import { DAYS, lags, openByAge, perDay, timeToAnswer } from './figures.ts';
import { changed, now } from './live.ts';
import { Empty, Failure } from './parts.ts';
import { Plot } from './plot.ts';
import { allOf, client } from './service.ts';
import { count, span } from './text.ts';
import { useLoad } from './use-load.ts';

/** The latest questions that the plots count; more would be a long read. */
const MOST = 2000;

/** Numbers that people look at. */
export function NumbersView() {
  const minute = Math.floor(now.value / 60_000);
  const { data, error } = useLoad(
    async signal => {
      const asked_after = new Date(now.value - DAYS * 86_400_000).toISOString();
      const [asked, open, subscriptions, stats] = await Promise.all([
        allOf(page => client.questions({ ...page, order: 'newest', asked_after }, { signal }), MOST),
        allOf(page => client.questions({ ...page, state: 'open' }, { signal }), MOST),
        allOf(page => client.bus.subscriptions(page, { signal }), 50),
        client.stats({ signal }),
      ]);
      return { asked, open, subscriptions, stats };
    },
    'numbers',
    [changed.runs.value > 0, minute],
  );
  if (!data) return html`<h1>Numbers</h1>${error ? html`<${Failure} error=${error} />` : html`<${Empty}>Loading…<//>`}`;
  const { asked, open, subscriptions, stats } = data;
  const answered = timeToAnswer(asked);
  const { count: open_count, oldest_age_seconds: oldest } = stats.open_questions;
  return html`<h1>Numbers</h1><${Failure} error=${error} />
    <p class="quiet">${count(open_count, 'open question')}${oldest === null ? '' : `, the oldest for ${span(oldest * 1000)}`}. ${count(stats.signals.total, 'signal')} in ${count(stats.threads.total, 'thread')} so far.
      ${asked.length >= MOST && ` The plots count the latest ${MOST.toLocaleString()} questions.`}</p>
    <${Plot} title="Questions asked a day" head=${['Day', 'Questions']} bars=${perDay(asked, now.value)} />
    ${
      answered.length > 0
        ? html`<${Plot} title="Median time to an answer, by priority" head=${['Priority', 'Time']} bars=${answered} />`
        : html`<${Empty}>No question was answered in the last ${DAYS} days.<//>`
    }
    <${Plot} title="Open questions by age" head=${['Age', 'Questions']} bars=${openByAge(open, now.value)} />
    ${subscriptions.length > 0 && html`<${Plot} title="Lag of deliveries" head=${['Subscription', 'Lag']} bars=${lags(subscriptions)} />`}`;
}
