import { Ref } from '../http/schemas.ts';
import { ControlSignalV1 } from '../signals/schemas.ts';
import type { Signals } from '../signals/service.ts';
import { assertSupportedVersion } from '../signals/signal.ts';
import { type CommandHandler, command, type Validator } from './command.ts';

/** As `POST /control-signals`. */
export function controlSignal(validator: Validator, signals: Signals): CommandHandler {
  return command(validator, {
    name: 'control_signal',
    schema: Ref(ControlSignalV1),
    precheck: assertSupportedVersion,
    async run(tx, payload) {
      const { signal, question } = await signals.append(tx, payload);
      const { signal_id, thread_id } = signal;
      return { signal_id, thread_id, ...(question && { question_id: question.question_id }) };
    },
  });
}
