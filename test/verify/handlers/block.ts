import { consumer } from '../consume.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.block?.topics;
export const policy = { dead: 'block' };
export const handle = consumer('block', { deadEvery: 10 });
