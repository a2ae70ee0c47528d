import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.work?.topics;
export const handle = consumer('work', {});
