import type { Format } from '../schemas.ts';
import type { Channel } from './channel.ts';
import { discord } from './discord.ts';
import { email } from './email.ts';
import { ntfy } from './ntfy.ts';
import { slack } from './slack.ts';
import { teams } from './teams.ts';
import { telegram } from './telegram.ts';
import { webpush } from './webpush.ts';

/** The channels that tell people. */
export const channels: Record<Exclude<Format, 'standard'>, Channel> = {
  ...{ slack, discord, teams, ntfy, telegram, email, webpush },
};
