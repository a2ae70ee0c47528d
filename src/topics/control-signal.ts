import type { SignalService } from '../signals/service.ts';
import { type CommandHandler, command, type Validator } from './command.ts';

/** As `POST /control-signals`. */
export function controlSignal(validator: Validator, signals: SignalService): CommandHandler {
  return command(validator, {
    name: 'control_signal',
    schema: payload => signals.versionOf(payload).schema,
    async run(tx, payload) {
      const signed = signals.commandOf(payload);
      const command = signed.control_type === 'guidance_answer' ? { ...signed, isMessage: true as const } : signed;
      const { signal, question } = await signals.accept(tx, command);
      const { signal_id, thread_id } = signal;
      return { signal_id, thread_id, ...(question && { question_id: question.question_id }) };
    },
  });
}
