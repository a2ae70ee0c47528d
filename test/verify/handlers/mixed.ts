import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.mixed?.topics;
export const handle = consumer('mixed', { fails: 0.1 });
