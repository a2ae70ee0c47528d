import { Type } from 'typebox';
import { Strict } from '../http/schemas.ts';
import { EventQuery } from './schemas.ts';

const { after, run_id, thread_id, agent_name, event_type } = EventQuery.properties;

export const StreamQuery = Strict({ after, run_id, thread_id, agent_name, event_type });

export const StreamHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ description: 'The sequence of the last event that the reader has; counts more than `after`.' }),
  ),
});
