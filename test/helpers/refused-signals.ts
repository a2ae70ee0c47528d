import { type Refused, schemaRows } from './refused.ts';
import { signal } from './signals.ts';

/*
 * Control signals that are refused. Unless a row says otherwise the agent is unknown to the service (`builder` in
 * `run-1`), so that a row also shows that a refused first signal leaves no thread behind.
 */

const URL = '/control-signals';
const CONTROL_TYPES = ['guidance_request', 'guidance_answer', 'completion', 'validation'] as const;

/** White space of every kind that JavaScript's trim() takes away. */
const BLANK = ' \t\n\r\u00a0\u2003\u2028\ufeff';
const NUL = 'a\u0000b';
const HIGH_SURROGATE = 'a\ud83d';
const LOW_SURROGATE = '\ude00b';

/** A valid signal without one of its fields. */
function without(control_type: string, ...fields: string[]): Record<string, unknown> {
  return signal(control_type, Object.fromEntries(fields.map(field => [field, undefined])));
}

const options = (count: number) => Array.from({ length: count }, (_, index) => ({ label: `Option ${index}` }));
const evidence = (fields: object) => ({ evidence: [{ kind: 'log', ref: 'ci.txt', ...fields }] });

const shapes = schemaRows('POST', URL, [
  ['null as the body', null, ''],
  ['a string as the body', 'completion', ''],
  ['a number as the body', 1, ''],
  ['a boolean as the body', true, ''],
  ['an empty list as the body', [], ''],
  ['a list of valid signals as the body', [signal('completion')], ''],
  ['an empty object', {}, '/control_type'],
  ['no control_type', without('completion', 'control_type'), '/control_type'],
  ['an unknown control_type', signal('approval'), '/control_type'],
  ['a control_type in capitals', signal('COMPLETION'), '/control_type'],
  ['a control_type with white space', signal('completion '), '/control_type'],
  ['an empty control_type', signal(''), '/control_type'],
  ['a control_type that is the name of an inherited property', signal('toString'), '/control_type'],
  ['a number as control_type', signal('completion', { control_type: 1 }), '/control_type'],
  ['null as control_type', signal('completion', { control_type: null }), '/control_type'],
  ['schema_version as a string', signal('completion', { schema_version: '1' }), '/schema_version'],
  ['schema_version with a fraction', signal('completion', { schema_version: 1.5 }), '/schema_version'],
  ['null as schema_version', signal('completion', { schema_version: null }), '/schema_version'],
  ['true as schema_version', signal('completion', { schema_version: true }), '/schema_version'],
]);

/** One row per control type and field that it requires: the answer names that field only. */
const missing = CONTROL_TYPES.flatMap(type =>
  schemaRows(
    'POST',
    URL,
    Object.keys(signal(type))
      .filter(field => field !== 'control_type')
      .map(field => [`${type} without ${field}`, without(type, field), `/${field}`]),
  ),
);

const unknownFields = schemaRows('POST', URL, [
  [
    'a validation without both of its fields',
    without('validation', 'status', 'done_criteria'),
    '/status',
    '/done_criteria',
  ],
  ['a field that nobody knows', signal('completion', { colour: 'red' }), '/colour'],
  ['a field in camel case', signal('completion', { runId: 'run-1' }), '/runId'],
  ['a pointer that must be escaped', signal('completion', { 'a/b~c': 1 }), '/a~1b~0c'],
  ['a signal_id of its own', signal('completion', { signal_id: 'sig_1' }), '/signal_id'],
  ['a thread_id', signal('completion', { thread_id: 'talk' }), '/thread_id'],
  ['a sequence', signal('completion', { sequence: 1 }), '/sequence'],
  ['a completion with a question', signal('completion', { question: 'Why?' }), '/question'],
  ['a completion with a status', signal('completion', { status: 'passed' }), '/status'],
  ['a validation with a summary', signal('validation', { summary: 'Done.' }), '/summary'],
  ['a request with an answer', signal('guidance_request', { answer: 'Yes.' }), '/answer'],
  ['an answer with options', signal('guidance_answer', { options: options(2) }), '/options'],
]);

const names = (['run_id', 'agent_name', 'ticket'] as const).flatMap(field =>
  schemaRows('POST', URL, [
    [`an empty ${field}`, signal('completion', { [field]: '' }), `/${field}`],
    [`a blank ${field}`, signal('completion', { [field]: BLANK }), `/${field}`],
    [`a ${field} of 201 characters`, signal('completion', { [field]: 'x'.repeat(201) }), `/${field}`],
    [`a ${field} of 201 characters outside the BMP`, signal('completion', { [field]: '😀'.repeat(201) }), `/${field}`],
    [`a ${field} with NUL`, signal('completion', { [field]: NUL }), `/${field}`],
    [`a ${field} with NUL at its edges`, signal('completion', { [field]: '\u0000a\u0000' }), `/${field}`],
    [`a ${field} with an unpaired high surrogate`, signal('completion', { [field]: HIGH_SURROGATE }), `/${field}`],
    [`a ${field} with an unpaired low surrogate`, signal('completion', { [field]: LOW_SURROGATE }), `/${field}`],
    [`a ${field} with a control character`, signal('completion', { [field]: 'a\u001b[31m' }), `/${field}`],
    [`a ${field} with a bidirectional control`, signal('completion', { [field]: 'a\u202eb' }), `/${field}`],
    [`a ${field} with an invisible character`, signal('completion', { [field]: 'a\u200bb' }), `/${field}`],
    [`a ${field} of nothing visible`, signal('completion', { [field]: '\u3164' }), `/${field}`],
    [`a ${field} of two dots`, signal('completion', { [field]: '..' }), `/${field}`],
    [`a number as ${field}`, signal('completion', { [field]: 7 }), `/${field}`],
    [`null as ${field}`, signal('completion', { [field]: null }), `/${field}`],
    [`a list as ${field}`, signal('completion', { [field]: ['a'] }), `/${field}`],
    [`an object as ${field}`, signal('completion', { [field]: { name: 'a' } }), `/${field}`],
  ]),
);

const envelope = schemaRows('POST', URL, [
  ['a string as actor', signal('completion', { actor: 'human:ana' }), '/actor'],
  ['null as actor', signal('completion', { actor: null }), '/actor'],
  ['an empty actor', signal('completion', { actor: {} }), '/actor/type', '/actor/name'],
  ['an actor without a name', signal('completion', { actor: { type: 'human' } }), '/actor/name'],
  ['an unknown type of actor', signal('completion', { actor: { type: 'robot', name: 'r2' } }), '/actor/type'],
  ['an actor with a blank name', signal('completion', { actor: { type: 'human', name: BLANK } }), '/actor/name'],
  ['an actor with an extra key', signal('completion', { actor: { type: 'human', name: 'ana', id: 1 } }), '/actor/id'],
  ['an empty correlation_id', signal('completion', { correlation_id: '' }), '/correlation_id'],
  ['a number as correlation_id', signal('completion', { correlation_id: 1 }), '/correlation_id'],
  ['a correlation_id of 201 characters', signal('completion', { correlation_id: 'x'.repeat(201) }), '/correlation_id'],
  ['a causation_id with NUL', signal('completion', { causation_id: NUL }), '/causation_id'],
  ['null as causation_id', signal('completion', { causation_id: null }), '/causation_id'],
  ['attempt 0', signal('completion', { attempt: 0 }), '/attempt'],
  ['attempt as a string', signal('completion', { attempt: '1' }), '/attempt'],
  ['attempt with a fraction', signal('completion', { attempt: 1.5 }), '/attempt'],
  ['null as attempt', signal('completion', { attempt: null }), '/attempt'],
]);

/** Every text for people is judged alike. */
const texts = (
  [
    ['guidance_request', 'question'],
    ['guidance_request', 'context'],
    ['guidance_request', 'default_answer'],
    ['guidance_answer', 'answer'],
    ['completion', 'summary'],
    ['validation', 'done_criteria'],
  ] as const
).flatMap(([type, field]) =>
  schemaRows('POST', URL, [
    [`an empty ${field}`, signal(type, { [field]: '' }), `/${field}`],
    [`a blank ${field}`, signal(type, { [field]: BLANK }), `/${field}`],
    [`a ${field} of nothing visible`, signal(type, { [field]: '\u200b\u3164' }), `/${field}`],
    [`a ${field} with NUL`, signal(type, { [field]: NUL }), `/${field}`],
    [`a ${field} with an unpaired surrogate`, signal(type, { [field]: HIGH_SURROGATE }), `/${field}`],
    [`a number as ${field}`, signal(type, { [field]: 42 }), `/${field}`],
    [`null as ${field}`, signal(type, { [field]: null }), `/${field}`],
    [`a list as ${field}`, signal(type, { [field]: ['Which?'] }), `/${field}`],
  ]),
);

const requests = schemaRows(
  'POST',
  URL,
  (
    [
      ['no options in the list', { options: [] }, '/options'],
      ['one option', { options: options(1) }, '/options'],
      ['eleven options', { options: options(11) }, '/options'],
      ['options as a string', { options: 'yes, no' }, '/options'],
      ['options as an object', { options: { yes: 1, no: 2 } }, '/options'],
      ['null as options', { options: null }, '/options'],
      ['options that are blank', { options: ['yes', BLANK] }, '/options/1'],
      ['options that are numbers', { options: [1, { label: 'no' }] }, '/options/0'],
      ['an option without a label', { options: [{ label: 'yes' }, {}] }, '/options/1/label'],
      ['an option with a blank label', { options: [{ label: BLANK }, { label: 'no' }] }, '/options/0/label'],
      ['an option with a number as label', { options: [{ label: 1 }, { label: 'no' }] }, '/options/0/label'],
      ['an option with an extra key', { options: [{ label: 'yes', value: 1 }, { label: 'no' }] }, '/options/0/value'],
      [
        'an option with a blank description',
        { options: [{ label: 'a', description: ' ' }, { label: 'b' }] },
        '/options/0/description',
      ],
      // An answer selects by label: two options of one name could not be told apart.
      [
        'two options with one label',
        { agent_name: 'twin', options: [{ label: 'a' }, { label: 'a', description: 'Again.' }] },
        '/options',
      ],
      [
        'two options with one label but for white space',
        { agent_name: 'twin', options: [{ label: 'a' }, { label: ' a ' }] },
        '/options',
      ],
      ['the same option twice', { agent_name: 'twin', options: [{ label: 'a' }, { label: 'a' }] }, '/options'],
      ['multi_select as a string', { multi_select: 'true' }, '/multi_select'],
      ['multi_select as a number', { multi_select: 1 }, '/multi_select'],
      ['an unknown priority', { priority: 'critical' }, '/priority'],
      ['a priority in capitals', { priority: 'HIGH' }, '/priority'],
      ['a number as priority', { priority: 1 }, '/priority'],
      ['null as priority', { priority: null }, '/priority'],
      ['an expiry of 0 seconds', { expires_in_seconds: 0 }, '/expires_in_seconds'],
      ['a negative expiry', { expires_in_seconds: -1 }, '/expires_in_seconds'],
      ['an expiry as a string', { expires_in_seconds: '60' }, '/expires_in_seconds'],
      ['an expiry with a fraction', { expires_in_seconds: 0.5 }, '/expires_in_seconds'],
      ['an expiry beyond what a date can hold', { expires_in_seconds: 1e300 }, '/expires_in_seconds'],
      ['an empty supersedes', { supersedes: '' }, '/supersedes'],
      ['a number as supersedes', { supersedes: 1 }, '/supersedes'],
    ] as const
  ).map(([name, fields, ...pointers]) => [name, signal('guidance_request', fields), ...pointers]),
);

const others = schemaRows('POST', URL, [
  ['an empty in_reply_to', signal('guidance_answer', { in_reply_to: '' }), '/in_reply_to'],
  ['null as in_reply_to', signal('guidance_answer', { in_reply_to: null }), '/in_reply_to'],
  ['a string as selected', signal('guidance_answer', { selected: 'yes' }), '/selected'],
  ['a number in selected', signal('guidance_answer', { selected: ['yes', 1] }), '/selected/1'],
  ['a blank label in selected', signal('guidance_answer', { selected: [BLANK] }), '/selected/0'],
  ['eleven labels in selected', signal('guidance_answer', { selected: options(11).map(o => o.label) }), '/selected'],
  ['evidence as an object', signal('completion', { evidence: { kind: 'log', ref: 'ci.txt' } }), '/evidence'],
  ['evidence as strings', signal('completion', { evidence: ['ci.txt'] }), '/evidence/0'],
  ['null as evidence', signal('validation', { evidence: null }), '/evidence'],
  ['evidence without a kind', signal('completion', evidence({ kind: undefined })), '/evidence/0/kind'],
  ['evidence without a ref', signal('validation', evidence({ ref: undefined })), '/evidence/0/ref'],
  ['evidence with a blank ref', signal('completion', evidence({ ref: BLANK })), '/evidence/0/ref'],
  ['evidence with a number as kind', signal('validation', evidence({ kind: 1 })), '/evidence/0/kind'],
  ['evidence with a blank note', signal('completion', evidence({ note: ' ' })), '/evidence/0/note'],
  ['evidence with an extra key', signal('validation', evidence({ url: 'x' })), '/evidence/0/url'],
  [
    'evidence with a ref of 2049 characters',
    signal('completion', evidence({ ref: 'x'.repeat(2049) })),
    '/evidence/0/ref',
  ],
  ['an unknown validation status', signal('validation', { status: 'ok' }), '/status'],
  ['a boolean as validation status', signal('validation', { status: true }), '/status'],
  [
    'several things wrong at once',
    signal('validation', { run_id: ' ', status: 'ok', x: 1 }),
    '/run_id',
    '/status',
    '/x',
  ],
]);

/** Well-formed, and impossible as things stand. */
const impossible: Refused[] = (
  [
    ['schema version 2', signal('completion', { schema_version: 2 }), 'UNSUPPORTED_SCHEMA_VERSION'],
    ['schema version 0', signal('completion', { schema_version: 0 }), 'UNSUPPORTED_SCHEMA_VERSION'],
    // Whatever else is in it: a newer client must learn that the version is the reason.
    [
      'schema version 2 with fields of its own',
      signal('completion', { schema_version: 2, mood: 'good' }),
      'UNSUPPORTED_SCHEMA_VERSION',
    ],
    [
      'schema version 2 with a type of its own',
      signal('handover', { schema_version: 2 }),
      'UNSUPPORTED_SCHEMA_VERSION',
    ],
    ['schema version 2 and nothing else', { schema_version: 2 }, 'UNSUPPORTED_SCHEMA_VERSION'],
    ['an answer to an unknown question', signal('guidance_answer', { in_reply_to: 'q_0' }), 'QUESTION_NOT_FOUND'],
    [
      "an answer to another agent's question",
      signal('guidance_answer', { in_reply_to: '{open}' }),
      'QUESTION_MISMATCH',
    ],
    [
      'an answer to a question of the same agent name in another run',
      signal('guidance_answer', { run_id: 'run-2', agent_name: 'asker', in_reply_to: '{open}' }),
      'QUESTION_MISMATCH',
    ],
    ['an answer when nobody has asked', signal('guidance_answer'), 'NO_OPEN_QUESTION'],
    ['an answer when no question is open', signal('guidance_answer', { agent_name: 'decider' }), 'NO_OPEN_QUESTION'],
    ['an answer when two questions are open', signal('guidance_answer', { agent_name: 'torn' }), 'AMBIGUOUS_ANSWER'],
    [
      'another answer to an answered question',
      signal('guidance_answer', { agent_name: 'decider', in_reply_to: '{answered}', answer: 'Mars.' }),
      'ALREADY_ANSWERED',
    ],
    [
      'an answer to a cancelled question',
      signal('guidance_answer', { agent_name: 'decider', in_reply_to: '{cancelled}' }),
      'QUESTION_CLOSED',
    ],
    [
      'a label that is no option',
      signal('guidance_answer', { agent_name: 'asker', selected: ['maybe'] }),
      'INVALID_SELECTION',
    ],
    [
      'a label in other case',
      signal('guidance_answer', { agent_name: 'asker', selected: ['YES'] }),
      'INVALID_SELECTION',
    ],
    [
      'two labels where one is allowed',
      signal('guidance_answer', { agent_name: 'asker', selected: ['yes', 'no'] }),
      'INVALID_SELECTION',
    ],
    [
      'one label twice',
      signal('guidance_answer', { agent_name: 'asker', selected: ['yes', 'yes'] }),
      'INVALID_SELECTION',
    ],
    [
      'a label where there are no options',
      signal('guidance_answer', { agent_name: 'torn', in_reply_to: '{torn}', selected: ['yes'] }),
      'INVALID_SELECTION',
    ],
    [
      'a request that supersedes an unknown question',
      signal('guidance_request', { supersedes: 'q_0' }),
      'QUESTION_NOT_FOUND',
    ],
    [
      "a request that supersedes another agent's question",
      signal('guidance_request', { supersedes: '{open}' }),
      'QUESTION_MISMATCH',
    ],
    [
      'a request that supersedes an answered question',
      signal('guidance_request', { agent_name: 'decider', supersedes: '{answered}' }),
      'ALREADY_ANSWERED',
    ],
    [
      'a request that supersedes a cancelled question',
      signal('guidance_request', { agent_name: 'decider', supersedes: '{cancelled}' }),
      'QUESTION_CLOSED',
    ],
    [
      'a later attempt than the current one',
      signal('completion', { agent_name: 'decider', attempt: 3 }),
      'STALE_ATTEMPT',
    ],
    [
      'an earlier attempt than the current one',
      signal('validation', { agent_name: 'decider', attempt: 1 }),
      'STALE_ATTEMPT',
    ],
    ['attempt 2 of an agent that is new', signal('guidance_request', { attempt: 2 }), 'STALE_ATTEMPT'],
    [
      'an answer that names another attempt',
      signal('guidance_answer', { agent_name: 'asker', attempt: 2 }),
      'STALE_ATTEMPT',
    ],
    ['a completion on a closed thread', signal('completion', { agent_name: 'gone' }), 'THREAD_CLOSED'],
    ['a request on a closed thread', signal('guidance_request', { agent_name: 'gone' }), 'THREAD_CLOSED'],
    ['an answer on a closed thread', signal('guidance_answer', { agent_name: 'gone' }), 'THREAD_CLOSED'],
  ] as const
).map(([name, body, code]) => ({ name, method: 'POST', url: URL, body, code }));

export const refusedSignals: Refused[] = [
  ...shapes,
  ...missing,
  ...unknownFields,
  ...names,
  ...envelope,
  ...texts,
  ...requests,
  ...others,
  ...impossible,
];
