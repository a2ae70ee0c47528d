import type { SignalService } from '../signals/service.ts';
import type { SchemaVersions } from '../signals/versions.ts';
import { type CommandHandler, command, type Validator } from './command.ts';

/** As `POST /control-signals`. */
export function controlSignal(validator: Validator, signals: SignalService, versions: SchemaVersions): CommandHandler {
  return command(validator, {
    name: 'control_signal',
    schema: payload => versions.of(payload).schema,
    async run(tx, payload) {
      const { signal, question } = await signals.append(tx, signals.signedBy(versions.of(payload).toCommand(payload)));
      const { signal_id, thread_id } = signal;
      return { signal_id, thread_id, ...(question && { question_id: question.question_id }) };
    },
  });
}
