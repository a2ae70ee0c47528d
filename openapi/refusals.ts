import { type AddressInfo, connect } from 'node:net';
import { newUid } from '../src/clock.ts';
import { ADMIN_TOKEN, type Recorder, type Scene } from './recorder.ts';
import type { Tokens } from './story.ts';

const signal = (control_type: string, fields: object = {}) => ({
  ...{ schema_version: 1, control_type, run_id: 'run-11', agent_name: 'builder' },
  ...fields,
});

/** Every way in which a service refuses a request, as far as the story has not met it. */
export async function refusals(recorder: Recorder, main: Scene, tokens: Tokens): Promise<void> {
  await beforeRoutes(main, tokens);
  await unknown(main, tokens);
  await signals(main, tokens);
  await threadsAndRuns(main, tokens);
  await messages(main, tokens);
  await openService(recorder);
  await limits(recorder);
  await failure(recorder);
}

async function beforeRoutes(main: Scene, { admin, viewer, builder }: Tokens): Promise<void> {
  const body = signal('completion');
  const send = { as: admin, body };
  await main.refused('UNAUTHORIZED', 'listRuns');
  await main.refused('FORBIDDEN', 'closeRun', { as: viewer, path: { run_id: 'run-7' }, body: {} });
  await main.refused('ACTOR_MISMATCH', 'sendControlSignal', {
    as: builder,
    body: { ...body, run_id: 'run-7', actor: { type: 'agent', name: 'tester' } },
  });
  await main.refused('SELF_VALIDATION', 'sendControlSignal', {
    as: builder,
    body: signal('validation', { run_id: 'run-7', status: 'passed', done_criteria: 'Tests are green.' }),
  });
  await main.refused('MALFORMED_JSON', 'sendControlSignal', { ...send, body: '{"schema_version": 1' });
  await main.refused('NUMBER_NOT_EXACT', 'publishMessage', {
    as: admin,
    body: '{"topic": "forum.integration.chat", "payload": {"order": 9007199254740993}}',
  });
  await main.refused('VALIDATION_FAILED', 'sendControlSignal', { as: admin, body: signal('guidance_request') });
  await main.refused('UNSUPPORTED_MEDIA_TYPE', 'sendControlSignal', {
    ...send,
    headers: { 'content-type': 'text/plain' },
  });
  await main.refused('PAYLOAD_TOO_LARGE', 'sendControlSignal', {
    as: admin,
    body: signal('completion', { summary: '.'.repeat(262_144) }),
  });
  await main.refused('MALFORMED_REQUEST', 'sendControlSignal', { ...send, headers: { 'content-length': '4000' } });
  await main.refused('INVALID_CURSOR', 'listRuns', { as: admin, query: { cursor: 'W10' } });
  await main.refused('URI_TOO_LONG', 'listThreads', { as: admin, query: { q: 'word '.repeat(2000) } });
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, number) => [`x-${number}`, '1']));
  await main.refused('HEADERS_TOO_LARGE', 'listRuns', { as: admin, headers: many });
  const headers = { authorization: `Bearer ${admin}` };
  const inject = async (method: 'GET', url: string) => (await main.app.inject({ method, url, headers })).json();
  main.problem('MALFORMED_URL', await inject('GET', '/questions/%zz'));
  main.problem('NOT_FOUND', await inject('GET', '/nothing'));
  main.problem('METHOD_NOT_ALLOWED', await inject('GET', '/mcp'));

  const once = { as: admin, headers: { 'idempotency-key': 'once' } };
  await main.call('sendControlSignal', { ...once, body });
  await main.refused('IDEMPOTENCY_KEY_REUSED', 'sendControlSignal', { ...once, body: { ...body, summary: 'Done.' } });
}

async function unknown(main: Scene, { admin: as }: Tokens): Promise<void> {
  await main.refused('SIGNAL_NOT_FOUND', 'getControlSignal', { as, path: { signal_id: 'sig_0' } });
  await main.refused('QUESTION_NOT_FOUND', 'getQuestion', { as, path: { question_id: 'q_0' } });
  const path = { run_id: 'run-7', agent_name: 'nobody' };
  await main.refused('CONTROL_THREAD_NOT_FOUND', 'getControlThread', { as, path });
  await main.refused('THREAD_NOT_FOUND', 'getThread', { as, path: { thread_id: 'thr_0' } });
  await main.refused('RUN_NOT_FOUND', 'getRun', { as, path: { run_id: 'run-0' } });
  await main.refused('MESSAGE_NOT_FOUND', 'getMessage', { as, path: { message_id: 'msg_0' } });
  await main.refused('SUBSCRIPTION_NOT_FOUND', 'deleteSubscription', { as, path: { name: 'importer' } });
  await main.refused('TOKEN_NOT_FOUND', 'revokeToken', { as, path: { token_id: '0000000000000000' } });
}

async function signals(main: Scene, { admin: as }: Tokens): Promise<void> {
  const send = (fields: object) => main.call('sendControlSignal', { as, body: signal('guidance_request', fields) });
  const options = ['eu-west-1', 'us-east-1'];
  const { question_id } = (await send({ question: 'Which region?', options })).question;
  const path = { question_id };
  await send({ question: 'Which bucket?' });
  await main.refused('TOO_MANY_OPEN_QUESTIONS', 'sendControlSignal', {
    ...{ as, body: signal('guidance_request', { question: 'Which day?' }) },
  });
  await main.refused('AMBIGUOUS_ANSWER', 'sendControlSignal', {
    as,
    body: signal('guidance_answer', { answer: 'No.' }),
  });
  await main.refused('QUESTION_OPEN', 'acknowledgeQuestion', { as, path, body: {} });
  await main.refused('PRECONDITION_FAILED', 'answerQuestion', {
    ...{ as, path, body: { answer: 'Europe.' }, headers: { 'if-match': '"7"' } },
  });
  await main.refused('INVALID_SELECTION', 'answerQuestion', { as, path, body: { selected: ['mars-1'] } });
  const elsewhere = { agent_name: 'tester', answer: 'Europe.', in_reply_to: question_id };
  await main.refused('QUESTION_MISMATCH', 'sendControlSignal', { as, body: signal('guidance_answer', elsewhere) });
  await main.call('answerQuestion', { as, path, body: { selected: ['eu-west-1'] } });
  await main.refused('ALREADY_ANSWERED', 'answerQuestion', { as, path, body: { selected: ['us-east-1'] } });
  const third = (await send({ agent_name: 'tester', question: 'Which day?' })).question.question_id;
  await main.call('cancelQuestion', { as, path: { question_id: third }, body: {} });
  await main.refused('QUESTION_CLOSED', 'answerQuestion', {
    ...{ as, path: { question_id: third }, body: { answer: 'Monday.' } },
  });
  const answer = signal('guidance_answer', { agent_name: 'tester', answer: 'Monday.' });
  await main.refused('NO_OPEN_QUESTION', 'sendControlSignal', { as, body: answer });
  await main.refused('STALE_ATTEMPT', 'sendControlSignal', { as, body: signal('completion', { attempt: 7 }) });
  await main.refused('UNSUPPORTED_SCHEMA_VERSION', 'sendControlSignal', {
    ...{ as, body: { ...signal('completion'), schema_version: 9 } },
  });
}

async function threadsAndRuns(main: Scene, { admin: as }: Tokens): Promise<void> {
  await main.refused('GATE_BLOCKED', 'closeRun', { as, path: { run_id: 'run-11' }, body: {} });
  await main.refused('RUN_CLOSED', 'fileBrief', { as, path: { run_id: 'run-7' }, body: { title: 'Move back' } });
  const thread = { thread_id: 'release-notes', title: 'Another one', body: 'Hello.' };
  await main.refused('THREAD_EXISTS', 'openThread', { as, body: thread });
  await main.refused('RESERVED_THREAD_ID', 'openThread', { as, body: { ...thread, thread_id: 'fctrl-run-7' } });
  const path = { thread_id: 'release-notes' };
  await main.refused('TRANSITION_NOT_ALLOWED', 'changeThread', { as, path, body: { state: 'triaged' } });
  await main.call('changeThread', { as, path, body: { state: 'closed' } });
  await main.refused('THREAD_CLOSED', 'addPost', { as, path, body: { body: 'One more thing.' } });
}

async function messages(main: Scene, { admin: as }: Tokens): Promise<void> {
  const message = { topic: 'forum.integration.chat', payload: { text: 'Another one.' }, message_id: 'chat-1' };
  await main.refused('MESSAGE_EXISTS', 'publishMessage', { as, body: message });
  await main.refused('RESERVED_TOPIC', 'publishMessage', { as, body: { topic: 'forum.events.x', payload: {} } });
  await main.refused('MESSAGE_STATUS_CONFLICT', 'replayMessage', { as, path: { message_id: 'chat-1' } });
}

/** A service without tokens. */
async function openService(recorder: Recorder): Promise<void> {
  const open = await recorder.start({ OPEN: 'true' });
  await open.refused('HOST_NOT_ALLOWED', 'listRuns', { headers: { host: 'forumbus.example.com' } });
  await open.refused('ORIGIN_NOT_ALLOWED', 'listRuns', { headers: { origin: 'https://example.com' } });
  await open.app.close();
}

async function limits(recorder: Recorder): Promise<void> {
  const settings = {
    RATE_LIMIT_PER_MINUTE: '5',
    STREAMS_PER_CALLER: '1',
    WAITS_PER_CALLER: '1',
    SHUTDOWN_GRACE_MS: '0',
  };
  const small = await recorder.start(settings);
  const as = ADMIN_TOKEN;
  const headers = { authorization: `Bearer ${as}` };
  const url = await small.app.listen({ port: 0, host: '127.0.0.1' });
  const left = new AbortController();
  const stream = await fetch(`${url}/events/stream`, { headers, signal: left.signal });
  await small.refused('TOO_MANY_STREAMS', 'streamEvents', { as });
  const waits = [1, 2].map(() => fetch(`${url}/questions?wait=50`, { headers, signal: left.signal }));
  // One of them waits.
  small.problem('TOO_MANY_WAITS', await (await Promise.race(waits)).json());
  await small.call('listRuns', { as });
  await small.refused('RATE_LIMITED', 'listRuns', { as });
  left.abort();
  await Promise.allSettled([stream.text(), ...waits]);

  // Node looks at its connections once a second.
  small.app.server.headersTimeout = 1;
  const { port } = small.app.server.address() as AddressInfo;
  small.problem('REQUEST_TIMEOUT', await halfARequest(port));
  await small.app.close();
}

/** The problem document that ends a request whose headers do not arrive. */
async function halfARequest(port: number) {
  const socket = connect(port, '127.0.0.1');
  socket.write('GET /livez HTTP/1.1\r\n');
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) text += chunk;
  return JSON.parse(text.slice(text.indexOf('\r\n\r\n')));
}

async function failure(recorder: Recorder): Promise<void> {
  let broken = false;
  const failing = await recorder.start(
    {},
    {
      newUid: () => {
        if (broken) throw new Error('There are no more ids.');
        return newUid();
      },
    },
  );
  broken = true;
  await failing.refused('INTERNAL_ERROR', 'sendControlSignal', { as: ADMIN_TOKEN, body: signal('completion') });
  broken = false;
  await failing.app.close();
}
