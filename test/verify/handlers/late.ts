import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.late?.topics;
export const handle = consumer('late', { fails: 0.02 });
