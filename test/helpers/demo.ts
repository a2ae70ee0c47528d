import { send } from './process.ts';
import { signal } from './signals.ts';

const ana = { type: 'operator', name: 'ana' };
const ben = { type: 'operator', name: 'ben' };
const criteria = 'All checkout tests are green and the old cart is gone.';

/** Fills an open service with runs, as people look at. */
export async function demo(origin: string): Promise<void> {
  const must = async (method: string, path: string, body?: object) => {
    const answer = await send(origin, method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const sent = (type: string, run_id: string, agent_name: string, fields: object = {}) =>
    must('POST', '/control-signals', signal(type, { run_id, agent_name, ...fields }));
  const answered = async (run_id: string, agent_name: string, fields: object, answer: object) => {
    const { question } = await sent('guidance_request', run_id, agent_name, fields);
    await must('PUT', `/questions/${question.question_id}/answer`, answer);
    return question.question_id;
  };

  const agents = ['builder', 'tester', 'docs', 'deployer', 'reviewer', 'migrator'];
  const brief = { ticket: 'SHOP-101', title: 'Checkout rewrite', done_criteria: criteria, agents, actor: ana };
  await must('PUT', '/runs/shop-1', brief);
  await must('PUT', '/runs/site-3', { title: 'Accessibility pass', agents: ['docs'], actor: ana });
  await sent('guidance_request', 'shop-1', 'tester', { question: 'Which browsers does “works everywhere” mean?' });
  await sent('guidance_request', 'shop-1', 'docs', {
    question: 'Which pages may I rewrite?',
    context: '- Start is **old**\n- the FAQ has [a broken link](https://example.org/faq)',
    options: ['Start', 'Checkout', 'FAQ'],
    multi_select: true,
  });
  await sent('guidance_request', 'shop-1', 'builder', {
    question: 'May I delete the legacy cart table in staging?',
    context: 'Nothing reads `legacy_users` since 14 October. Restoring takes about 20 min from last night’s dump.',
    options: [
      { label: 'Drop it now', description: 'migration 0042 continues' },
      { label: 'Keep it', description: 'skip this step, note it in the ticket' },
      { label: 'Ask the DBA first' },
    ],
    priority: 'urgent',
    expires_in_seconds: 28_600,
    default_answer: 'Keep it',
  });
  const region = { question: 'Use the EU region for staging?', options: ['eu-west-1', 'us-east-1'] };
  await answered('infra-2', 'deployer', region, { selected: ['eu-west-1'], actor: ana, answered_in: 'cli' });
  const lint = { question: 'Merge PR 311 with the failing lint?', options: ['Yes', 'No'] };
  await answered('api-7', 'builder', lint, { selected: ['No'], actor: ben, answered_in: 'page' });
  const draft = { question: 'Publish the draft as it is?' };
  const done = await answered('site-3', 'docs', draft, { answer: 'Yes, but fix the second heading.', actor: ben });
  await must('POST', `/questions/${done}/acknowledge`, {});
  await sent('completion', 'shop-1', 'migrator', { summary: 'Migration 0041 ran on staging.' });
  await sent('validation', 'shop-1', 'migrator', { done_criteria: criteria, actor: ana });
  await sent('completion', 'site-3', 'docs', { summary: 'All pages pass.' });
  await sent('validation', 'site-3', 'docs', { done_criteria: 'All pages pass axe.', actor: ana });
  await must('POST', '/threads', { title: 'Release on Friday?', body: 'The freeze begins at noon.', actor: ana });
}
