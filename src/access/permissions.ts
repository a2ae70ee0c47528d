export const roles = ['agent', 'viewer', 'operator', 'admin'] as const;

export type Role = (typeof roles)[number];

/**
 * What an operation lets a role do. An agent is bound to what its token names: `itself` is its own thread and questions,
 * `its runs` all that belongs to its runs.
 */
export interface Rule {
  agent: 'itself' | 'its runs' | 'no';
  viewer: boolean;
  operator: boolean;
}

const reads = (agent: Rule['agent']): Rule => ({ agent, viewer: true, operator: true });
const writes = (agent: Rule['agent']): Rule => ({ agent, viewer: false, operator: true });
const administers: Rule = { agent: 'no', viewer: false, operator: false };
/** Probes carry no token. */
const anybody = 'anybody';

/**
 * Who may do what, by operation id; admins may do everything. An operation that is not in here cannot be registered. The
 * README prints this table, and a test proves each of its cells.
 */
export const permissions: Record<string, Rule | typeof anybody> = {
  sendControlSignal: writes('itself'),
  getControlSignal: reads('its runs'),
  listQuestions: reads('its runs'),
  getQuestion: reads('its runs'),
  answerQuestion: writes('no'),
  cancelQuestion: writes('itself'),
  acknowledgeQuestion: writes('itself'),
  listControlThreads: reads('its runs'),
  getControlThread: reads('its runs'),
  startAttempt: writes('no'),
  openThread: writes('its runs'),
  listThreads: reads('its runs'),
  getThread: reads('its runs'),
  changeThread: writes('no'),
  // As the viewer that the token names.
  markThreadSeen: reads('its runs'),
  listPosts: reads('its runs'),
  addPost: writes('its runs'),
  fileBrief: writes('no'),
  listRuns: reads('no'),
  getRun: reads('its runs'),
  closeRun: writes('no'),
  getStats: reads('no'),
  listEvents: reads('its runs'),
  streamEvents: reads('its runs'),
  publishMessage: writes('no'),
  listMessages: reads('no'),
  getMessage: reads('no'),
  getOutboxStats: reads('no'),
  replayMessage: writes('no'),
  replayMessages: writes('no'),
  discardMessage: writes('no'),
  listTopics: reads('no'),
  pauseTopic: writes('no'),
  resumeTopic: writes('no'),
  processMessages: writes('no'),
  getMetrics: reads('no'),
  createToken: administers,
  listTokens: administers,
  revokeToken: administers,
  getHealth: anybody,
  getLiveness: anybody,
  getReadiness: anybody,
};

export function permits(rule: Rule, role: Role): boolean {
  if (role === 'admin') return true;
  return role === 'agent' ? rule.agent !== 'no' : rule[role];
}
