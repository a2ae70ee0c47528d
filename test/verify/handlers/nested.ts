import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.nested?.topics;
export const handle = consumer('nested', { fails: 0.02 });
