import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.all?.topics;
export const handle = consumer('all', { fails: 0.05, hostile: true });
