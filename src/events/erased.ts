/*
 * The remains of an event whose run was erased: its type, times, ids and names. Its payload keeps the fields from which
 * the tables beside the log are computed. Texts are empty or gone. Fields that nobody thought of here are gone.
 */

type Payload = Record<string, unknown>;

/** Ids, names, numbers and states. */
const KEPT = [
  ...['kind', 'priority', 'signal_id', 'schema_version', 'control_type', 'attempt', 'question_id', 'superseded_by'],
  ...['multi_select', 'expires_in_seconds', 'remind_after_seconds', 'expires_at', 'asked_at', 'supersedes'],
  ...['approvals', 'approvals_required', 'approved_by', 'missing'],
  ...['in_reply_to', 'answered_in', 'default_applied', 'status', 'from', 'to', 'ticket', 'agents', 'reason'],
];
/** Texts without which an event of its type would not fit its schema, or would mean something else. */
const EMPTIED = ['title', 'body', 'question', 'answer', 'done_criteria', 'default_answer', 'text'];

/** The payload of an event of an erased run. Erasing it again changes nothing. */
export function erasedPayload(event_type: string, payload: Payload): Payload {
  const erased: Payload = { erased: true };
  for (const name of KEPT) if (payload[name] !== undefined) erased[name] = payload[name];
  // A brief without criteria is met by every validation; one with an empty text would be met by none.
  const empty = event_type === 'forum.run.briefed' ? null : '';
  for (const name of EMPTIED) if (name in payload) erased[name] = payload[name] === null ? null : empty;
  // Of the names of its agent and its run.
  if (payload.kind === 'control') erased.title = payload.title;
  return erased;
}

/** Whether an event is of an erased run. */
export function isErased({ payload }: { payload: Payload }): boolean {
  return payload.erased === true;
}
