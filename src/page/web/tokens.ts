import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import type { IssuedToken, NewToken, Token } from '../../client/index.ts';
import { changed } from './live.ts';
import { Act, AgeText, Empty, Failure, Pill, Said } from './parts.ts';
import { allOf, client, present, sentenceOf } from './service.ts';
import { me } from './session.ts';
import { clock } from './text.ts';
import { useLoad } from './use-load.ts';

const MOST = 1000;
const DAY = 86_400;

/** The tokens of the service, for admins. */
export function TokensView() {
  const { data, error, reload } = useLoad(
    signal => allOf(page => client.tokens.list(page, { signal }), MOST),
    'tokens',
    [changed.tokens.value],
  );
  const isOver = ({ revoked_at, expires_at }: Token) =>
    revoked_at !== null || (expires_at !== null && Date.parse(expires_at) < present());
  return html`<h1>Tokens</h1>
    <${NewTokenForm} done=${reload} />
    <${Failure} error=${error} />
    ${!data && !error && html`<${Empty}>Loading…<//>`}
    <div class="rows">${data
      ?.toReversed()
      .toSorted((a, b) => Number(isOver(a)) - Number(isOver(b)))
      .map(
        token => html`<${TokenRow} key=${token.token_id} token=${token} isOver=${isOver(token)} reload=${reload} />`,
      )}</div>`;
}

function TokenRow({ token, isOver, reload }: { token: Token; isOver: boolean; reload: () => void }) {
  const { token_id, role, actor, runs, agents, last_used_at, expires_at, revoked_at, created_at } = token;
  const [made, setMade] = useState<IssuedToken>();
  const rotate = async () => {
    setMade(await client.tokens.rotate(token_id));
    reload();
  };
  return html`<div class="row">
    <span class="t"><${Said} text=${actor ? (runs === null ? actor.name : `${actor.name} in ${runs}`) : `${agents} in ${runs}`} /></span>
    <span class="a"><${Pill}>${role}<//>${isOver && html` <${Pill} kind="bad">${revoked_at ? 'revoked' : 'expired'}<//>`}</span>
    <span class="s"><code>${token_id}</code> · made <${AgeText} at=${created_at} /> ago · ${last_used_at ? html`used <${AgeText} at=${last_used_at} /> ago` : 'never used'}${expires_at && !isOver && ` · until ${clock(expires_at)}`}${token_id === me.value?.token_id && ' · this browser'}</span>
    ${!isOver && html`<div class="s acts"><${Act} kind="quiet" sure="Revoke it for good?" act=${() => client.tokens.revoke(token_id).then(reload)}>revoke<//><${Act} kind="quiet" sure="Make another secret? The present one ends in an hour." act=${rotate}>rotate<//></div>`}
    ${made && html`<${Secret} token=${made.token} />`}</div>`;
}

function NewTokenForm({ done }: { done: () => void }) {
  const [role, setRole] = useState<NewToken['role']>('agent');
  const [made, setMade] = useState<IssuedToken>();
  const [error, setError] = useState<string>();
  const make = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const fields = new FormData(form);
    const given = (name: string) => String(fields.get(name) ?? '').trim();
    const days = Number(given('days'));
    const rights =
      role === 'agent'
        ? { runs: given('runs'), agents: given('agents') }
        : {
            actor: { type: role === 'viewer' ? ('human' as const) : ('operator' as const), name: given('name') },
            ...(given('runs') && { runs: given('runs') }),
          };
    setError(undefined);
    try {
      setMade(await client.tokens.create({ role, ...rights, ...(days > 0 && { expires_in_seconds: days * DAY }) }));
      form.reset();
      done();
    } catch (failure) {
      setError(sentenceOf(failure));
    }
  };
  return html`<form class="panel" onSubmit=${make}>
    <div class="filters"><label>Role <select value=${role} onChange=${(event: Event) => setRole((event.target as HTMLSelectElement).value as NewToken['role'])}>${['agent', 'viewer', 'operator', 'admin'].map(one => html`<option>${one}</option>`)}</select></label>
      ${
        role === 'agent'
          ? html`<input name="runs" required aria-label="Runs" placeholder="Runs, such as shop-*" maxlength="200" /><input name="agents" required aria-label="Agents" placeholder="Agents, such as *" maxlength="200" />`
          : html`<input name="name" required aria-label="Name" placeholder="Name" maxlength="200" />${role !== 'admin' && html`<input name="runs" aria-label="Runs, if not all" placeholder="Runs, if not all" maxlength="200" />`}`
      }
      <input name="days" type="number" min="1" max="3650" aria-label="Days until it expires" placeholder="Days" />
      <button class="btn primary">Make a token</button></div>
    <${Failure} error=${error} />
    ${made && html`<${Secret} token=${made.token} />`}
  </form>`;
}

function Secret({ token }: { token: string }) {
  return html`<p class="notice" role="status">Copy it now, it is shown only here: <code class="secret">${token}</code></p>`;
}
