import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.twin?.topics;
export const handle = consumer('twin', { deadEvery: 20 });
